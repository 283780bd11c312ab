"""Sign-in with the facility's identity provider: OpenID Connect, authorization code with PKCE."""
