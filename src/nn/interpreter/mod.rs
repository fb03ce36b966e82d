//! Runs plans on libtorch: forward, backward, and along a direction of the weights.

pub mod weights;
