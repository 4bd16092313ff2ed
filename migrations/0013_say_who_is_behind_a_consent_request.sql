-- For which apps a backend asks, as their ids with blanks between: the user knows those apps, and not the backend.
ALTER TABLE consent_request ADD COLUMN behind TEXT;
