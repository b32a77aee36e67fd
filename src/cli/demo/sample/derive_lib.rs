//! `#[derive(Plant)]`: the name of a plant, from the name of its type.

use proc_macro::{TokenStream, TokenTree};

#[proc_macro_derive(Plant)]
pub fn derive_plant(input: TokenStream) -> TokenStream {
    let mut words = input.into_iter().skip_while(|tree| tree.to_string() != "struct").skip(1);
    let Some(TokenTree::Ident(name)) = words.next() else {
        return "compile_error!(\"a plant is a struct\");".parse().unwrap();
    };
    format!(
        "impl Plant for {name} {{
            fn name(&self) -> &'static str {{ \"{name}\" }}
            fn range(&self) -> (f64, f64) {{ (self.least, self.most) }}
        }}"
    )
    .parse()
    .unwrap()
}
