"""The process that parses model files and runs models, and the server's end of the line to it.

The worker's side is `__main__`, `confine`, `jobs`, `outgoing`; the server's side is `process`,
`link`, `models`, `keeper`. Both know `frames` and `messages`, and nothing else of each other.
"""
