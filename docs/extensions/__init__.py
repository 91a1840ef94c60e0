"""What the site needs of Sphinx and Sphinx does not bring."""
