export {
  type ContentPart,
  type Conversation,
  checkTurns,
  type Message,
  parseConversation,
  type Role,
  roles,
  type Tool,
  type ToolCall,
  type TurnRules,
} from "./conversation.js";
export { assistantSpans, type EncodedConversation, encodeConversation } from "./encode.js";
export type { Span } from "./jinja/render.js";
export { loadChatTemplate } from "./load.js";
export { type ChatTemplate, chatTemplate, type RenderOptions, renderConversation } from "./template.js";
export { chatTemplates } from "./templates.js";
