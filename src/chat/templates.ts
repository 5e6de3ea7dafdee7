/**
 * Templates for models of one's own, in formats that are widely known. Each writes what its model family's own template writes, and
 * marks what the assistant generates, which most published ones do not. A model that is loaded has its own: `loadChatTemplate`.
 */

/**
 * ChatML: `<|im_start|>role`, a line end, what is said, `<|im_end|>`. The format of OpenAI's first chat models, now of Qwen and many others.
 * https://github.com/openai/openai-python/blob/release-v0.28.0/chatml.md
 */
const chatml = `\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}
            {{- message.content + '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- else %}
        {{- message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}`;

/**
 * Llama 3: the role between header tokens, two line ends, what is said without white space around it, `<|eot_id|>`.
 * https://www.llama.com/docs/model-cards-and-prompt-formats/meta-llama-3/
 */
const llama3 = `\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}
            {{- message.content | trim + '<|eot_id|>' }}
        {%- endgeneration %}
    {%- else %}
        {{- message.content | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}`;

/**
 * Gemma 1 and 2: turns of "user" and "model" between `<start_of_turn>` and `<end_of_turn>`, in alternation, with no system's.
 * https://ai.google.dev/gemma/docs/core/prompt-structure
 */
const gemma = `\
{{- bos_token }}
{%- if messages[0].role == 'system' %}
    {{- raise_exception('System role not supported') }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if message.role == 'assistant' %}
        {{- '<start_of_turn>model\\n' }}
        {%- generation %}
            {{- message.content | trim + '<end_of_turn>' }}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- else %}
        {{- '<start_of_turn>' + message.role + '\\n' + message.content | trim + '<end_of_turn>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<start_of_turn>model\\n' }}
{%- endif %}`;

/** The tools in the system's turn, as JSON schemas, and how to call them (Qwen2.5, Qwen3, MiniMind; after Nous Research's Hermes). */
const toolsInSystemTurn = `\
{%- set system = messages[0].content if messages[0].role == 'system' else '' %}
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- system + '\\n\\n' }}
    {%- endif %}
    {{- '# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\n' }}
    {{- 'You are provided with function signatures within <tools></tools> XML tags:\\n<tools>' }}
    {%- for tool in tools %}
        {{- '\\n' }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments ' }}
    {{- 'within <tool_call></tool_call> XML tags:\\n<tool_call>\\n' }}
    {{- '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + system + '<|im_end|>\\n' }}
{%- endif %}`;

/** Thoughts from their own field, or from the beginning of what is said. */
const separateThoughts = `\
        {%- set thoughts = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thoughts = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thoughts = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}`;

/** Each call as JSON between tags, on lines of its own. */
const toolCalls = `\
            {%- for tool_call in message.tool_calls or [] %}
                {%- set call = tool_call.function if tool_call.function else tool_call %}
                {%- if content or not loop.first %}
                    {{- '\\n' }}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
                {%- if call.arguments is string %}
                    {{- call.arguments }}
                {%- else %}
                    {{- call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}`;

/** Answers of tools that follow each other share a user's turn. */
const toolAnswers = `\
    {%- elif message.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}`;

/**
 * Qwen3 (Yang et al. 2025, "Qwen3 Technical Report"): ChatML with tools and thoughts. Thoughts are shown behind the last question only;
 * there every answer has a place for them, which may be empty. `enable_thinking: false` puts an empty one into the generation prompt.
 */
const qwen3 = `\
${toolsInSystemTurn}
{%- set last = namespace(question=messages | length - 1, found=false) %}
{%- for message in messages[::-1] %}
    {%- if not last.found and message.role == 'user' and message.content is string %}
        {%- if not (message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
            {%- set last.found = true %}
            {%- set last.question = messages | length - 1 - loop.index0 %}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
${separateThoughts}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}
            {%- if loop.index0 > last.question and (loop.last or thoughts) %}
                {{- '<think>\\n' + thoughts.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- content }}
            {%- endif %}
${toolCalls}
            {{- '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\\n' }}
${toolAnswers}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}`;

/**
 * MiniMind (https://github.com/jingyaogong/minimind): Qwen3's format, but every answer keeps its thoughts, and the generation prompt has
 * none unless `open_thinking: true` asks for them.
 */
const minimind = `\
${toolsInSystemTurn}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
${separateThoughts}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}
            {{- '<think>\\n' + thoughts.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
${toolCalls}
            {{- '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\\n' }}
${toolAnswers}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if open_thinking is defined and open_thinking is true %}
        {{- '<think>\\n' }}
    {%- else %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}`;

export const chatTemplates = { chatml, llama3, gemma, qwen3, minimind } as const;
