-- Who an authorization server says it is when it sends a browser back (RFC 9207); null for one that does not say.
ALTER TABLE oauth_providers ADD COLUMN issuer text;
