-- Fewer and narrower indexes for what is written at each token.

-- The id of a request and the jti of a token begin with the time of their event, so audit_event_at finds them. What
-- administrators and writers did has other ids.
DROP INDEX audit_event_request;
DROP INDEX audit_event_jti;
CREATE INDEX audit_event_done ON audit_event (request_id) WHERE outcome = 'done';

-- Users come in no order: an index that begins with them is written at another page for every event. Within 256 events of
-- a chain it is written at a few; a search looks once into each such segment.
DROP INDEX audit_event_subject;
CREATE INDEX audit_event_subject ON audit_event ((seq / 256), subject) WHERE subject IS NOT NULL;
