// The notebook's widget: an Explorer in the output of a cell. Python reads and sets its point and its image.
const SENT = 50;  // milliseconds between messages to Python

async function render({ model, el }) {
    const root = element("div", { class: "sections" }), parts = model.get("parts");
    el.classList.add("genmodels-explorer");
    el.dataset.theme = document.body.dataset.jpThemeLight == "false" ? "dark" : "light";
    el.dataset.lmSuppressShortcuts = "";  // JupyterLab leaves the arrow keys to us
    el.append(root);
    spoken.language = model.get("language") || spoken.language;
    let waiting = 0;
    const explorer = await Explorer.open(root, parts, ({ z, image }) => {
        clearTimeout(waiting);
        waiting = setTimeout(() => {
            model.set({ point: [...z], image });
            model.save_changes();
        }, SENT);
    });
    const same = point => JSON.stringify(point) == JSON.stringify(explorer.view.z);
    const move = () => same(model.get("point")) || explorer.update({ z: [...model.get("point")] });
    const pick = () => model.get("image") == explorer.view.image || explorer.pick(model.get("image"));
    explorer.update({ z: [...model.get("point")], image: model.get("image") });
    model.on("change:point", move);
    model.on("change:image", pick);
    await explorer.finish(parts.later);
    return () => {
        clearTimeout(waiting);
        model.off("change:point", move);
        model.off("change:image", pick);
    };
}

export default { render };
