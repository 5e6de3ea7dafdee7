/** Runs: recipes, run directories, and what a person sees of training. */

export {
  type Generate,
  type RunResult,
  type RunSample,
  type RunTrainingOptions,
  runTraining,
} from "#platform/runs/training";
export { type LossRow, lossCurveSvg, lossCurveText } from "./loss-curve.js";
export { parseRecipe, type Recipe, type RecipeInput } from "./recipe.js";
export { presetNames, presets } from "./recipe-presets.js";
