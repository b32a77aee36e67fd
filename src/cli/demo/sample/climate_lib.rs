//! Weather from a table that the build script makes.

mod days {
    include!(concat!(env!("OUT_DIR"), "/days.rs"));
}

/// Where the table comes from.
pub const SOURCE: &str = env!("CLIMATE_SOURCE");

/// Degrees at an hour of a day of the year.
pub fn temperature(day: usize, hour: u32) -> f64 {
    days::DAYS[day % days::DAYS.len()](hour)
}

/// The mean over a day.
pub fn mean(day: usize) -> f64 {
    (0..24).map(|hour| temperature(day, hour)).sum::<f64>() / 24.0
}
