//! Differentiable architecture search: a space of cells is compiled into a plan, and the plan is run on libtorch.
//!
//! Data flows one way: space and configuration, plan, network, engine, events, result. A module imports only
//! modules above it in the list below, with one exception: `search` and `checkpoint` import each other. Modules without
//! a feature use neither libtorch nor Python.

#![warn(missing_docs, clippy::too_many_lines)]

pub mod error;
mod json;
pub mod random;
pub mod schedule;
pub mod suggest;
pub mod variant;

pub mod space;

pub mod arch;

pub mod relaxation;

pub mod perturbation;

pub mod terms;

pub mod event;

pub mod decide;

pub mod config;
pub mod plan;

#[cfg(feature = "torch")]
pub mod params;

#[cfg(feature = "torch")]
pub mod ranks;

#[cfg(feature = "torch")]
pub mod data;

#[cfg(feature = "torch")]
pub mod nn;

#[cfg(feature = "torch")]
pub mod optim;

#[cfg(feature = "torch")]
pub mod search;

#[cfg(feature = "torch")]
pub mod checkpoint;

#[cfg(feature = "python")]
mod py;
