//! Options of the network. The space is an option of its own (`SearchConfig::space`).

use super::readers::{flag, image_size, not_negative_schedule, optional, scheduled_share, share, size};
use super::table::options;
use crate::plan::EdgeOptions;
use crate::schedule::Schedule;

options! {
    /// Sizes and dropout of the search network.
    NetworkConfig {
        [1] channels: usize = 16, direct 64, up_to 4096 => size;
        [2] layers: usize = 8, stages 5, direct 2, up_to 1000 => size;
        [5] num_classes: Option<usize> = None, up_to 10_000_000 => optional(size);
        [6] in_channels: Option<usize> = None, up_to 4096 => optional(size);
        [7] image_size: Option<(usize, usize)> = None, up_to 65_536 => optional(image_size);
        [41] units: usize = 300, up_to 65_536 => size;
        [43] dropout_rows: f64 = 0.0 => share;
        [44] dropout_embedded: f64 = 0.2 => share;
        [45] dropout_input: f64 = 0.75 => share;
        [46] dropout_hidden: f64 = 0.25 => share;
        [47] dropout_output: f64 = 0.75 => share;
        [70] partial_channels: usize = 1, up_to 4096 => size;
        [71] edge_normalization: bool = false => flag;
        [72] auxiliary_skip: Option<Schedule> = None => optional(not_negative_schedule);
        // Dropout of a supernet; `dropout_*` is that of a language model.
        [76] drop_path: Schedule = Schedule::Constant(0.0) => scheduled_share;
        [77] skip_dropout: Schedule = Schedule::Constant(0.0) => scheduled_share;
    }
}

impl NetworkConfig {
    /// The options of the edges.
    pub fn edges(&self) -> EdgeOptions {
        let on = |probability: Schedule| probability != Schedule::Constant(0.0);
        EdgeOptions {
            partial_channels: self.partial_channels,
            edge_normalization: self.edge_normalization,
            auxiliary_skip: self.auxiliary_skip.is_some(),
            drop_path: on(self.drop_path),
            skip_dropout: on(self.skip_dropout),
        }
    }
}
