//! Options of networks as most tests want them: on the CPU, in one element type, nothing left out or added.
#![cfg(feature = "torch")]

use std::collections::BTreeMap;

use pydarts::config::Memory;
use pydarts::nn::{Dropout, LanguageOptions, SupernetOptions};
use tch::{Device, Kind};

/// Of a network of images.
pub fn supernet(kind: Kind) -> SupernetOptions {
    SupernetOptions {
        kind,
        compute: kind,
        device: Device::Cpu,
        criterion: None,
        tf32: false,
        switch: None,
        passes: None,
        forms: BTreeMap::new(),
        memory: Memory::Keep,
        micro_batch: None,
    }
}

/// Of a network of words: so many texts side by side, in segments of so many tokens.
pub fn language(kind: Kind, batch: i64, tokens: usize) -> LanguageOptions {
    LanguageOptions {
        kind,
        compute: kind,
        device: Device::Cpu,
        criterion: None,
        tf32: false,
        switch: None,
        passes: None,
        dropout: Dropout::default(),
        slowness: 1e-3,
        seed: 0,
        batch,
        tokens,
    }
}
