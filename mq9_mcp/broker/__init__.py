"""The broker: who asked, in which order, until when. It decides nothing that the domain decides."""
