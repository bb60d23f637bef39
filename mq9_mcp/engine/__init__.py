"""Storage behind one seam: ``base`` is what others see, each engine is a folder."""
