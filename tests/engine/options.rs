//! Options of networks for most tests: on the CPU, in one dtype, everything else at its default.
#![cfg(feature = "torch")]

use pydarts::config::Memory;
use pydarts::nn::{DropOptions, Dropout, LanguageOptions, NetworkOptions, Numbers};
use pydarts::ranks::Share;
use tch::{Device, Kind};

/// The options of a network.
pub fn plain(kind: Kind) -> NetworkOptions {
    NetworkOptions {
        numbers: Numbers { kind, compute: kind, tf32: false, switch: None },
        device: Device::Cpu,
        criterion: None,
        passes: None,
        memory: Memory::Keep,
        micro_batch: None,
        measure: None,
        own: None,
        samples: false,
        sparse: false,
        drop: DropOptions::default(),
        seed: 0,
        share: Share::WHOLE,
    }
}

/// The options of a language model for batches of `batch` sequences and segments of `tokens` tokens.
pub fn of_words(batch: i64, tokens: usize) -> LanguageOptions {
    LanguageOptions { dropout: Dropout::default(), slowness: 1e-3, seed: 0, batch, tokens }
}
