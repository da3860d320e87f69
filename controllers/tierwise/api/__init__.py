"""The kinds of the API as pydantic models, and the CRDs and pages that are generated from them."""
