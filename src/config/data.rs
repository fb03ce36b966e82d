//! Options of the data: how it is split, batched, normalised and augmented.

use super::choices::{Augment, BatchSize, batch_size, choice};
use super::readers::{deviations, means, open_share, optional, whole};
use super::table::options;

options! {
    /// How the data is split, batched, normalised and augmented.
    DataConfig {
        [9] batch_size: BatchSize = BatchSize::Given(64), recurrent BatchSize::Given(256) => batch_size;
        [21] train_portion: f64 = 0.5 => open_share;
        [22] augment: Augment = Augment::None => choice;
        [30] mean: Option<Vec<f64>> = None => optional(means);
        [31] std: Option<Vec<f64>> = None => optional(deviations);
        [32] cutout: usize = 0 => whole(0);
        [34] eval_batch_size: Option<usize> = None => optional(whole(1));
        [42] bptt: usize = 35 => whole(1);
    }
}
