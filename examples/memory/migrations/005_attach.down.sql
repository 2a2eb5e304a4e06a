-- What the stores hold stays there; what is pending still arrives.
BEGIN;
SELECT apex.detach('structured_data');
SELECT apex.detach('chunks');
SELECT apex.detach('documents');
COMMIT;
