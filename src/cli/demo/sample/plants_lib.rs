//! Plants, and the days on which they feel well.

use plants_derive::Plant;
use std::collections::BTreeMap;

pub trait Plant {
    fn name(&self) -> &'static str;
    /// The temperatures that it stands.
    fn range(&self) -> (f64, f64);
}

#[derive(Plant)]
pub struct Fern {
    pub least: f64,
    pub most: f64,
}

#[derive(Plant)]
pub struct Cactus {
    pub least: f64,
    pub most: f64,
}

/// Days of the year on which each plant feels well.
pub fn good_days(plants: &[&dyn Plant]) -> BTreeMap<&'static str, usize> {
    plants
        .iter()
        .map(|plant| {
            let (least, most) = plant.range();
            let good = |day: &usize| (least..most).contains(&climate::mean(*day));
            (plant.name(), (0..365).filter(good).count())
        })
        .collect()
}
