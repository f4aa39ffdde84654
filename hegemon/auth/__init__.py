"""Who may do what: identities, credentials, tokens and roles. Knows the stores through `hegemon.queue`, no HTTP."""
