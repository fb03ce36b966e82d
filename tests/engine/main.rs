//! The tests of the engine as one program, which is linked with libtorch once.

#![recursion_limit = "256"] // the options of a search as JSON, in config.rs

mod buffers;
mod capture;
mod checkpoint;
#[cfg(feature = "torch")]
mod common;
mod config;
mod cross_entropy;
mod curvature;
mod dataset;
mod deciders;
mod depthwise;
mod derive;
mod equivalence;
mod error;
mod event;
mod extend;
mod gates;
mod genotype;
mod hypergradient;
mod implicit;
mod language;
mod meeting;
mod memory;
mod metrics;
mod noise;
mod options;
mod own;
mod partial;
mod passes;
mod plan;
mod plan_operations;
mod plan_sound;
mod precision;
mod random;
mod ranks;
mod ranks_text;
mod recurrent;
mod relaxation;
mod relaxation_state;
mod select;
mod selection;
mod space;
mod spaces;
mod sparse;
mod stages;
mod step;
mod tokens;
mod toy;

#[test]
fn every_file_of_this_folder_is_a_module() {
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|extension| extension == "rs") && name != "main" {
            assert!(main.contains(&format!("\nmod {name};\n")), "main.rs lacks `mod {name};`");
        }
    }
}
