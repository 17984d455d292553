// Form controls: a labelled field, a list of layers, a list of concepts that can be filtered, a search box.

let fields = 0;

/** A control under its name; not inside it, or a list's options would become part of the name. */
function field(name, control) {
  control.id = `field-${(fields += 1)}`;
  return el("div", { class: "field" }, el("label", { for: control.id }, name), control);
}

function picker(options, chosen, onchange, attributes = {}) {
  const select = el("select", { ...attributes, onchange: () => onchange(select.value) });
  select.append(
    ...options.map(([value, text]) => el("option", { value, selected: String(value) === String(chosen) }, text)),
  );
  return select;
}

function layerPicker(layers, chosen, onchange) {
  return picker(
    layers.map((layer, index) => [index, String(layer)]),
    chosen,
    (value) => onchange(Number(value)),
    { class: "short" },
  );
}

function searchBox(placeholder, oninput) {
  const box = el("input", {
    type: "search",
    placeholder,
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => oninput(box.value),
  });
  return box;
}

const matches = (name, wanted) => name.toLowerCase().includes(wanted.trim().toLowerCase());

/** A list of all concepts by name; with many of them, a box narrows the list and takes its first match. */
function conceptPicker(chosen, onchange, names = CONCEPTS) {
  const named = names.map((name, index) => [index, name]).sort((a, b) => a[1].localeCompare(b[1]));
  const select = picker(named, chosen, (value) => onchange(Number(value)));
  const nodes = [field("Concept", select)];
  if (names.length > MANY) {
    const narrow = searchBox("type to narrow", (wanted) => {
      const fitting = named.filter(([, name]) => matches(name, wanted));
      const before = select.value;
      select.replaceChildren(
        ...(fitting.length ? fitting : named).map(([value, name]) => el("option", { value }, name)),
      );
      select.value =
        fitting.some(([value]) => String(value) === before) || !fitting.length ? before : String(fitting[0][0]);
      if (select.value !== before) onchange(Number(select.value));
    });
    nodes.unshift(field("Find concept", narrow));
  }
  const set = (index) => {
    if (![...select.options].some((option) => option.value === String(index))) {
      select.replaceChildren(...named.map(([value, name]) => el("option", { value }, name)));
    }
    select.value = String(index);
  };
  return { nodes, set };
}
