"""The run manager of the GenGlossary application; everything here serves that application alone."""
