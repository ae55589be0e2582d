"""Models of other libraries and for them. None of these libraries is imported before it is used."""
