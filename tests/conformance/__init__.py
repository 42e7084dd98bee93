"""What every engine has to do: the API, whichever store is behind it."""
