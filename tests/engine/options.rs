//! Options of networks as most tests want them: on the CPU, in one element type, nothing left out or added.
#![cfg(feature = "torch")]

use pydarts::config::Memory;
use pydarts::nn::{Dropout, LanguageOptions, NetworkOptions, Numbers};
use tch::{Device, Kind};

/// Of a network of either kind.
pub fn plain(kind: Kind) -> NetworkOptions {
    NetworkOptions {
        numbers: Numbers { kind, compute: kind, tf32: false, switch: None },
        device: Device::Cpu,
        criterion: None,
        passes: None,
        memory: Memory::Keep,
        micro_batch: None,
    }
}

/// Of words besides: so many texts side by side, in segments of so many tokens.
pub fn of_words(batch: i64, tokens: usize) -> LanguageOptions {
    LanguageOptions { dropout: Dropout::default(), slowness: 1e-3, seed: 0, batch, tokens }
}
