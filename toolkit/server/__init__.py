"""The HTTP server: search, pictures, uploads. The only room that imports starlette and uvicorn."""
