//! Batches of a data set: a pass is a function of its number, and augmentation does what it promises.
#![cfg(feature = "torch")]

use proptest::prelude::*;
use pydarts::data::{ArraySource, Augmentation, Dataset, Expected, Normalization, Role, Source, View, check_labels};
use pydarts::error::{ErrorKind, Result};
use pydarts::ranks::Share;
use tch::{Device, Kind, Tensor};

/// Images whose pixels are all different and never zero, and labels that number the images.
fn arrays(n: i64, channels: i64, height: i64, width: i64) -> (Tensor, Tensor) {
    let total = n * channels * height * width;
    let x = Tensor::arange(total, (Kind::Double, Device::Cpu)) + 1.0;
    (x.view([n, channels, height, width]), Tensor::arange(n, (Kind::Int64, Device::Cpu)))
}

fn dataset((x, y): &(Tensor, Tensor)) -> Dataset {
    Dataset::new(x, y).unwrap()
}

fn view(role: Role, batch_size: usize) -> View {
    View { indices: None, role, batch_size, normalization: Normalization::default(), share: Share::WHOLE }
}

fn source_of(dataset: &Dataset, view: View, augmentation: Augmentation, seed: u64) -> Result<ArraySource> {
    ArraySource::new(dataset, view, augmentation, seed, Kind::Double, Device::Cpu)
}

fn source(n: i64, role: Role, batch: usize, augmentation: Augmentation) -> ArraySource {
    source_of(&dataset(&arrays(n, 2, 5, 4)), view(role, batch), augmentation, 7).unwrap()
}

fn labels(source: &mut ArraySource, pass: u64, skip: usize) -> Vec<Vec<i64>> {
    source.start(pass, skip).unwrap();
    let mut all = Vec::new();
    while let Some(batch) = source.next().unwrap() {
        all.push(Vec::<i64>::try_from(&batch.targets).unwrap());
    }
    all
}

#[test]
fn a_pass_is_a_function_of_its_number() {
    let plain = Augmentation::default();
    let mut one = source(23, Role::Train, 4, plain);
    let mut other = source(23, Role::Train, 4, plain);
    let fifth = labels(&mut one, 5, 0);
    labels(&mut other, 2, 0);
    assert_eq!(labels(&mut other, 5, 0), fifth);
    assert_eq!(labels(&mut other, 5, 3), fifth[3..]);
    assert_ne!(labels(&mut other, 6, 0), fifth);
    assert_ne!(labels(&mut source(23, Role::Valid, 4, plain), 5, 0), fifth);
}

#[test]
fn a_shuffled_pass_holds_every_example_at_most_once_and_drops_the_partial_batch() {
    let mut train = source(23, Role::Train, 4, Augmentation::default());
    let mut seen = labels(&mut train, 0, 0).concat();
    assert_eq!((seen.len(), train.batches()), (20, Some(5)));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 20);
}

#[test]
fn evaluation_is_in_order_and_keeps_the_partial_batch() {
    let loud = Augmentation { crop_and_flip: true, cutout: 3 };
    let mut evaluation = source(10, Role::Evaluation, 4, loud);
    assert_eq!(labels(&mut evaluation, 3, 0), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
    evaluation.start(0, 0).unwrap();
    let first = evaluation.next().unwrap().unwrap();
    assert!(first.inputs.equal(&arrays(10, 2, 5, 4).0.narrow(0, 0, 4)), "evaluation is not augmented");
}

#[test]
fn bytes_are_scaled_then_normalised_per_channel() {
    let x = Tensor::from_slice(&[0u8, 255, 51, 102]).view([1, 2, 1, 2]);
    let y = Tensor::zeros([1], (Kind::Int64, Device::Cpu));
    let normalization = Normalization { mean: Some(vec![0.5, 0.2]), std: Some(vec![0.5, 0.1]) };
    let view = View { normalization, ..view(Role::Evaluation, 1) };
    let mut source = source_of(&dataset(&(x, y)), view, Augmentation::default(), 0).unwrap();
    source.start(0, 0).unwrap();
    let found = Vec::<f64>::try_from(&source.next().unwrap().unwrap().inputs.flatten(0, -1)).unwrap();
    for (value, expected) in found.iter().zip([-1.0, 1.0, 0.0, 2.0]) {
        assert!((value - expected).abs() < 1e-12, "{found:?}");
    }
}

#[test]
fn too_few_examples_and_indices_outside_are_refused() {
    let plain = Augmentation::default();
    let data = dataset(&arrays(3, 1, 2, 2));
    let few = source_of(&data, view(Role::Train, 4), plain, 0).unwrap_err();
    assert_eq!(few.kind, ErrorKind::Data);
    assert!(few.detail.contains("batch_size"), "{few}");
    let outside = View { indices: Some(vec![0, 3]), ..view(Role::Train, 1) };
    let wrong = source_of(&data, outside, plain, 0).unwrap_err();
    assert!(wrong.detail.contains("index 3"), "{wrong}");
}

/// Pixel (c, r, k) of the image after it was padded by 4, cropped at (top, left) and perhaps flipped.
fn crop(x: &Tensor, image: i64, place: (i64, i64, bool), at: [i64; 3]) -> f64 {
    let (top, left, flip) = place;
    let [c, r, k] = at;
    let (height, width) = (x.size()[2], x.size()[3]);
    let (row, column) = (top + r - 4, left + if flip { width - 1 - k } else { k } - 4);
    match (0..height).contains(&row) && (0..width).contains(&column) {
        true => x.double_value(&[image, c, row, column]),
        false => 0.0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Every augmented image is exactly one of the 9 × 9 × 2 crops of its padded original.
    #[test]
    fn an_augmented_image_is_a_crop_of_its_padded_original(
        height in 1i64..7, width in 1i64..7, channels in 1i64..3, seed in any::<u64>(), pass in 0u64..5,
    ) {
        let augmentation = Augmentation { crop_and_flip: true, cutout: 0 };
        let data = arrays(6, channels, height, width);
        let mut source = source_of(&dataset(&data), view(Role::Train, 3), augmentation, seed).unwrap();
        let x = data.0;
        source.start(pass, 0).unwrap();
        while let Some(batch) = source.next().unwrap() {
            for n in 0..3 {
                let image = batch.targets.int64_value(&[n]);
                let is = |place: (i64, i64, bool)| {
                    (0..channels).all(|c| (0..height).all(|r| (0..width).all(|k| {
                        batch.inputs.double_value(&[n, c, r, k]) == crop(&x, image, place, [c, r, k])
                    })))
                };
                let places = (0..9).flat_map(|t| (0..9).flat_map(move |l| [(t, l, false), (t, l, true)]));
                prop_assert!(places.into_iter().any(is), "image {image}");
            }
        }
    }

    /// Cutout zeroes one rectangle no larger than its side, the same in every channel, and nothing else.
    #[test]
    fn cutout_zeroes_one_square_clipped_at_the_border(side in 1usize..5, seed in any::<u64>()) {
        let augmentation = Augmentation { crop_and_flip: false, cutout: side };
        let mut source = source(6, Role::Train, 6, augmentation);
        let reference = arrays(6, 2, 5, 4).0;
        source.start(seed % 1000, 0).unwrap();
        let batch = source.next().unwrap().unwrap();
        for n in 0..6 {
            let image = batch.targets.int64_value(&[n]);
            let mut zeroed = [Vec::new(), Vec::new()];
            for c in 0..2 {
                for r in 0..5 {
                    for k in 0..4 {
                        let value = batch.inputs.double_value(&[n, c, r, k]);
                        match value == 0.0 {
                            true => zeroed[c as usize].push((r, k)),
                            false => prop_assert_eq!(value, reference.double_value(&[image, c, r, k])),
                        }
                    }
                }
            }
            prop_assert_eq!(&zeroed[0], &zeroed[1]);
            let rows: std::collections::BTreeSet<i64> = zeroed[0].iter().map(|p| p.0).collect();
            let columns: std::collections::BTreeSet<i64> = zeroed[0].iter().map(|p| p.1).collect();
            prop_assert!((1..=side).contains(&rows.len()) && (1..=side).contains(&columns.len()));
            prop_assert_eq!(zeroed[0].len(), rows.len() * columns.len());
        }
    }
}

/// The sources of a search read one tensor: three uploads of a large data set would not fit on a GPU.
#[test]
fn all_views_of_a_data_set_share_its_tensors() {
    let data = dataset(&arrays(8, 1, 2, 2));
    let sources = [Role::Train, Role::Valid, Role::Evaluation]
        .map(|role| source_of(&data, view(role, 4), Augmentation::default(), 0).unwrap());
    let [train, valid, evaluation] = sources.each_ref().map(|source| source.targets().data_ptr());
    assert_eq!((valid, evaluation), (train, train));
}

#[test]
fn the_smallest_batch_is_the_partial_last_one_of_an_evaluation() {
    let data = dataset(&arrays(10, 1, 2, 2));
    let smallest = |role, size| source_of(&data, view(role, size), Augmentation::default(), 0).unwrap().smallest();
    assert_eq!((smallest(Role::Train, 4), smallest(Role::Evaluation, 4), smallest(Role::Evaluation, 5)), (4, 2, 5));
}

#[test]
fn placing_a_batch_gives_what_admitting_it_gives() {
    let expected = Expected::Words { words: 9, bptt: 4, device: Device::Cpu };
    let tokens = Tensor::ones([2, 3], (Kind::Int, Device::Cpu));
    let [placed, admitted] =
        [expected.place(&tokens, &tokens), expected.admit(&tokens, &tokens, "batch 0")].map(Result::unwrap);
    assert!(placed.inputs.equal(&admitted.inputs) && placed.inputs.kind() == Kind::Int64);
    assert_eq!((placed.begins, placed.rate_scale), (admitted.begins, admitted.rate_scale));
}

#[test]
fn every_fault_of_a_batch_is_named() {
    let (kind, device) = (Kind::Float, Device::Cpu);
    let expected = Expected::Images { shape: vec![3, 4, 4], classes: 5, kind, device };
    let float = (kind, device);
    let x = Tensor::ones([2, 3, 4, 4], float);
    let y = Tensor::from_slice(&[0i64, 4]);
    assert!(expected.admit(&x, &y, "batch 0").is_ok());
    let probabilities = Tensor::full([2, 5], 0.2, (Kind::Double, device));
    assert_eq!(expected.admit(&x, &probabilities, "batch 0").unwrap().targets.kind(), kind);
    let nan = &x / 0.0 - &x / 0.0;
    let cases = [
        (Tensor::ones([2, 3, 4, 5], float), y.shallow_clone(), "shape [2, 3, 4, 5]"),
        (Tensor::ones([3, 4, 4], float), y.shallow_clone(), "expected [batch, 3, 4, 4]"),
        (x.to_kind(Kind::Uint8), y.shallow_clone(), "floating"),
        (nan, y.shallow_clone(), "NaN or infinity"),
        (x.shallow_clone(), Tensor::from_slice(&[0i64, 5]), "label 5"),
        (x.shallow_clone(), Tensor::from_slice(&[-1i64, 0]), "label -1"),
        (x.shallow_clone(), Tensor::from_slice(&[0.0, 1.0]), "integers"),
        (x.shallow_clone(), Tensor::from_slice(&[0i64]), "targets of shape [1]"),
        (x.shallow_clone(), Tensor::ones([2, 4], float), "targets of shape [2, 4]"),
        (x.shallow_clone(), Tensor::full([2, 5], f64::NAN, float), "NaN or infinity"),
    ];
    for (x, y, text) in cases {
        let error = expected.admit(&x, &y, "training batch 7").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Data);
        assert!(error.detail.contains("training batch 7") && error.detail.contains(text), "{error}");
    }
    assert!(check_labels(&Tensor::zeros([0], (Kind::Int64, Device::Cpu)), 5, "labels").is_err());
}

#[test]
fn targets_of_any_kind_keep_it_and_a_batch_counts_its_images() {
    let (kind, device) = (Kind::Double, Device::Cpu);
    let expected = Expected::Images { shape: vec![1, 4, 4], classes: 5, kind, device };
    let x = Tensor::ones([4, 1, 4, 4], (Kind::Float, device));
    let cases = [
        (Tensor::zeros([4, 3], (Kind::Float, device)), kind),
        (Tensor::zeros([4], (Kind::Float, device)), kind),
        (Tensor::zeros([4], (Kind::Bool, device)), Kind::Bool),
        (Tensor::zeros([4, 3], (Kind::Uint8, device)), Kind::Uint8),
        (Tensor::zeros([4], (Kind::Uint8, device)), Kind::Int64),
    ];
    for (targets, after) in cases {
        let batch = expected.place(&x, &targets).unwrap();
        assert_eq!(batch.targets.kind(), after);
        assert_eq!((batch.examples(), batch.width()), (4, 4));
        let part = batch.rows(1, 3).unwrap();
        assert_eq!((part.targets.size()[0], part.examples()), (2, 2));
    }
}
