"""The studio: a web page and an HTTP API on the user's own machine to correct generated sound.

`projects` are folders, `engine` keeps the model and the open results, `jobs` runs long work, and
`server` answers requests. docs/http.md describes the API.
"""
