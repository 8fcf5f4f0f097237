"""`trnlab report`: rooflines, projections, claims and their doubts as one page, with pictures and tables beside it."""
