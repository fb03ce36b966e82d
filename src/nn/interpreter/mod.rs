//! Runs plans on libtorch: forward, backward, and along a direction of the weights.

pub mod backward;
pub mod blocks;
pub mod executable;
pub mod execute;
pub mod jvp;
pub mod layers;
pub mod layout;
pub mod leaves;
pub mod mixing;
mod own;
pub mod pooling;
pub mod recurrent;
pub mod thinned;
pub mod weight_gradients;
pub mod weights;
