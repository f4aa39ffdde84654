"""The judge that stands outside: it believes the submitter's journal, the handlers' journals and MongoDB.

Nothing that Hegemon says of itself counts as evidence.
"""
