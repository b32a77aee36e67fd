# A stand-in for the part of nixpkgs' `lib` that nix/ uses, so that the module can be evaluated where
# there is no nixpkgs. It follows `lib.evalModules`, and where the two could differ it is the stricter:
# undeclared options, doubly declared ones, conflicting definitions and unknown attributes of a module
# throw; conditions are pushed down to the leaves, so that a definition for an option that does not
# exist throws even under a false condition; values of options are evaluated only when asked for.
let
  inherit (builtins)
    all
    attrNames
    concatLists
    concatMap
    concatStringsSep
    elem
    elemAt
    filter
    foldl'
    functionArgs
    head
    isAttrs
    isFunction
    isList
    isPath
    isString
    length
    listToAttrs
    mapAttrs
    removeAttrs
    tail
    ;

  showOption = concatStringsSep ".";
  unique = foldl' (seen: x: if elem x seen then seen else seen ++ [ x ]) [ ];
  genAttrs =
    names: value:
    listToAttrs (
      map (name: {
        inherit name;
        value = value name;
      }) names
    );
  namesOf = sets: unique (concatMap attrNames sets);
  having = name: filter (set: set ? ${name});
  recursiveUpdate =
    left: right:
    left
    // mapAttrs (
      name: value:
      if isAttrs value && left ? ${name} && isAttrs left.${name} then
        recursiveUpdate left.${name} value
      else
        value
    ) right;
  isDerivation = value: isAttrs value && (value.type or null) == "derivation";

  # Properties.

  # Takes what nixpkgs' takes and nothing else.
  mkOption =
    {
      apply ? null,
      default ? null,
      defaultText ? null,
      description ? null,
      example ? null,
      internal ? null,
      readOnly ? null,
      relatedPackages ? null,
      type ? null,
      visible ? null,
    }@attributes:
    attributes // { _type = "option"; };
  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };
  property = value: if isAttrs value then value._type or "none" else "none";

  # A configuration as plain sets, its properties moved down to the attributes.
  pushDown =
    config:
    {
      merge = concatMap pushDown config.contents;
      "if" = map (mapAttrs (_: mkIf config.condition)) (pushDown config.content);
      override = map (mapAttrs (_: mkOverride config.priority)) (pushDown config.content);
      none = [ config ];
    }
    .${property config};

  # A definition of one option as the values that hold, with their priorities.
  discharge =
    priority: value:
    {
      merge = concatMap (discharge priority) value.contents;
      "if" =
        if !builtins.isBool value.condition then
          throw "a condition is not a boolean"
        else if value.condition then
          discharge priority value.content
        else
          [ ];
      override = discharge value.priority value.content;
      none = [ { inherit priority value; } ];
    }
    .${property value};

  defined = concatMap (discharge 100);

  mergeDefinitions =
    path: type: values:
    let
      strongest = foldl' (least: d: if d.priority < least then d.priority else least) 9999 values;
      kept = map (d: d.value) (filter (d: d.priority == strongest) values);
    in
    if values == [ ] then
      throw "The option `${showOption path}' is used but not defined."
    else if !all type.check kept then
      throw "A definition for option `${showOption path}' is not of type `${type.name}'."
    else
      type.merge path kept;

  # Types.

  mergeOne =
    path: values:
    if length values == 1 then
      head values
    else
      throw "The option `${showOption path}' is defined multiple times.";
  mergeEqual =
    path: values:
    if all (value: value == head values) values then
      head values
    else
      throw "The option `${showOption path}' has conflicting definition values.";
  mkType = name: merge: check: { inherit name merge check; };
  plain = name: mkType name mergeEqual;
  within = name: holds: plain name (value: builtins.isInt value && holds value);

  types = {
    bool = plain "bool" builtins.isBool;
    int = plain "int" builtins.isInt;
    float = plain "float" builtins.isFloat;
    str = plain "str" isString;
    path = plain "path" (
      value:
      (isString value || isPath value || isAttrs value && value ? outPath)
      && builtins.substring 0 1 (toString value) == "/"
    );
    package = mkType "package" mergeOne isDerivation;
    unspecified = mkType "unspecified" mergeOne (_: true);
    ints.between = low: high: within "intBetween" (value: low <= value && value <= high);
    ints.positive = within "positiveInt" (value: value > 0);
    ints.unsigned = within "unsignedInt" (value: value >= 0);
    nullOr =
      type:
      mkType "nullOr ${type.name}" (
        path: values:
        if all isNull values then
          null
        else if builtins.any isNull values then
          throw "The option `${showOption path}' is defined both null and not null."
        else
          type.merge path values
      ) (value: value == null || type.check value);
    either =
      first: second:
      mkType "either" (
        path: values:
        if all first.check values then
          first.merge path values
        else if all second.check values then
          second.merge path values
        else
          mergeOne path values
      ) (value: first.check value || second.check value);
    oneOf =
      list: if tail list == [ ] then head list else types.either (head list) (types.oneOf (tail list));
    listOf =
      type:
      mkType "listOf" (
        path: values: map (value: mergeDefinitions path type (discharge 100 value)) (concatLists values)
      ) isList;
    attrsOf =
      type:
      mkType "attrsOf" (
        path: values:
        let
          sets = concatMap pushDown values;
          definitions = genAttrs (namesOf sets) (
            name: defined (map (set: set.${name}) (having name sets))
          );
        in
        mapAttrs (name: mergeDefinitions (path ++ [ name ]) type) (
          removeAttrs definitions (filter (name: definitions.${name} == [ ]) (attrNames definitions))
        )
      ) isAttrs;
    submodule =
      module:
      mkType "submodule" (
        path: values:
        (evalModules {
          prefix = path;
          modules = [ module ] ++ map (config: { inherit config; }) values;
        }).config
      ) isAttrs
      // {
        getSubOptions =
          prefix:
          (evalModules {
            inherit prefix;
            modules = [ module ];
          }).options;
      };
  };

  # Modules.

  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
    }:
    let
      attributes = [
        "config"
        "freeformType"
        "imports"
        "options"
      ];
      load =
        module:
        if isPath module || isString module then
          load (import module)
        else if isFunction module then
          let
            all = {
              inherit config lib options;
            }
            // specialArgs;
          in
          load (module (mapAttrs (name: _: all.${name}) (functionArgs module)))
        else if !(module ? config || module ? options) then
          load {
            imports = module.imports or [ ];
            config = removeAttrs module [
              "freeformType"
              "imports"
            ];
          }
        else if removeAttrs module attributes != { } then
          throw "A module has unsupported attributes: ${showOption (attrNames (removeAttrs module attributes))}"
        else
          concatMap load (module.imports or [ ]) ++ [ module ];

      loaded = concatMap load modules;
      freeform = map (module: module.freeformType) (having "freeformType" loaded);
      matched = evalOptions prefix (map (module: module.options or { }) loaded) (
        map (module: module.config or { }) loaded
      );
      lib = import ./lib.nix;
      options = matched.options;
      config =
        if matched.unmatched == [ ] then
          matched.config
        else if freeform == [ ] then
          throw "The option `${showOption (head matched.unmatched).path}' does not exist."
        else
          recursiveUpdate ((head freeform).merge prefix (
            map (d: setAttrByPath d.path d.value) matched.unmatched
          )) matched.config;
      setAttrByPath =
        path: value:
        if length path == length prefix then
          value
        else
          foldl' (inner: back: { ${elemAt path (length path - 1 - back)} = inner; }) value (
            builtins.genList (back: back) (length path - length prefix)
          );
    in
    {
      inherit config options;
    };

  evalOptions =
    path: declarations: configs:
    let
      # Lazy: `options` must be known before any definition is looked at.
      sets = map (
        set:
        if isAttrs set then
          set
        else
          throw "The option `${showOption path}' holds options, and is defined as something else."
      ) (concatMap pushDown configs);
      names = namesOf declarations;
      each = genAttrs names (
        name:
        let
          inner = path ++ [ name ];
          declared = map (set: set.${name}) (having name declarations);
          options = filter (d: property d == "option") declared;
          option = head options;
          values = map (set: set.${name}) (having name sets);
          given = defined values;
        in
        if options == [ ] then
          evalOptions inner declared values
        else if length declared > 1 then
          throw "The option `${showOption inner}' is declared more than once."
        else
          {
            options = option;
            unmatched = [ ];
            config = mergeDefinitions inner option.type (
              if given == [ ] && option ? default then [ { priority = 1500; value = option.default; } ] else given
            );
          }
      );
      undeclared = concatMap (
        set:
        map (name: {
          path = path ++ [ name ];
          value = set.${name};
        }) (filter (name: !elem name names) (attrNames set))
      ) sets;
    in
    {
      options = mapAttrs (_: one: one.options) each;
      config = mapAttrs (_: one: one.config) each;
      unmatched = undeclared ++ concatMap (name: each.${name}.unmatched) names;
    };
in
{
  inherit
    evalModules
    genAttrs
    isDerivation
    mapAttrs
    mkIf
    mkMerge
    mkOption
    mkOverride
    recursiveUpdate
    types
    ;
  mkDefault = mkOverride 1000;
  mkForce = mkOverride 50;
  optionalAttrs = condition: set: if condition then set else { };
  optionalString = condition: string: if condition then string else "";
  literalExpression = text: {
    _type = "literalExpression";
    inherit text;
  };
  importTOML = file: builtins.fromTOML (builtins.readFile file);
  fileset = {
    toSource = { root, fileset }: { inherit root fileset; };
    unions =
      paths: map (path: if builtins.pathExists path then path else throw "no ${toString path}") paths;
  };
  licenses = genAttrs [ "asl20" "mit" ] (name: name);
  platforms = {
    linux = [ "x86_64-linux" "aarch64-linux" ];
    darwin = [ "x86_64-darwin" "aarch64-darwin" ];
  };
}
