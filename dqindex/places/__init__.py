"""Where files lie: paths of this machine, and URIs of object stores, behind one set of verbs."""
