//! Hand-written CPU kernels. They work on tensors and slices, and know neither plans nor autograd.

pub mod cross_entropy;
pub mod depthwise;
pub mod exp;
pub mod gates;
pub mod normal;
pub mod parallel;
