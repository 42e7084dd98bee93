-- Version 4: no statement of a batch is compiled.
UPDATE {schema}.store_identity SET schema_version = 4;
