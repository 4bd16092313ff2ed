-- For which apps a backend asks, as their ids with blanks between: the user knows those apps, and not the backend.
ALTER TABLE consent_request ADD COLUMN behind TEXT;

-- Where the code was sent when the user agreed: for another address of the same client they are asked again.
ALTER TABLE consent ADD COLUMN redirect_uri TEXT;
