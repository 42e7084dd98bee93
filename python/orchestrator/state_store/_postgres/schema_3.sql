-- Version 3: functions that write items with less work for the server.
UPDATE {schema}.store_identity SET schema_version = 3;
