//! Says which plant feels well for how long.

use plants::{Cactus, Fern, good_days};

fn main() {
    let fern = Fern { least: 8.0, most: 19.0 };
    let cactus = Cactus { least: 14.0, most: 40.0 };
    for (name, days) in good_days(&[&fern, &cactus]) {
        println!("{name}: {days} good days, says {}", climate::SOURCE);
    }
}
