"""Language models as shapes: configurations, parameters, formats, and the work of a step."""
