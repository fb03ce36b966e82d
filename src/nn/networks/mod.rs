//! The networks that a search trains, and the options that they run with.

pub mod drop;
pub mod dropout;
pub mod examples;
pub mod language;
pub mod noise;
pub mod options;
pub mod reach;
pub mod sampled;
pub mod search_network;
pub mod supernet;
pub mod token_statistics;
pub mod user_operation;
