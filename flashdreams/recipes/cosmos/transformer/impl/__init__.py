"""The network of the Cosmos-Predict2 transformer and its layers."""
