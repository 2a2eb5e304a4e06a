-- Refused while anything still uses it. Changes that are pending go with it: let the sidecar drain them first.
DROP EXTENSION IF EXISTS apex_saga;
