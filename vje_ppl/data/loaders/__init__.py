"""One loader per family of data sets, each a function from a configuration's `data` keys to `ImageData`."""
