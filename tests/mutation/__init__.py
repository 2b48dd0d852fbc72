"""The proof that the ownership protocol is tested: each rule is taken out of the real code, and a named test must notice."""
