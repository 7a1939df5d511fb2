"""The parts of the detector: model, loss, what the loader does to an image, the loader, and mAP."""
