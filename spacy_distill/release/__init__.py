"""What leaves the house: a pipeline that needs spaCy alone, as a wheel or in the place of the LLM component."""
