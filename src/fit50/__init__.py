"""Fits a ResNet-50 to your images and your device."""
