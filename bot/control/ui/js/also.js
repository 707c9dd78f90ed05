/** The fixed words of the question for consent, said beside them in the language of the clinic's text. */

const ALSO = {
  de: {
    title: "Darf diese Sitzung mitgeschrieben werden?",
    changed: "Dieser Text hat sich geändert. Bitte lesen Sie ihn noch einmal.",
    nothing: "Nichts wird aufgezeichnet, wenn Sie nicht zustimmen.",
    agree: "Ich stimme der Aufzeichnung zu",
    decline: "Ich lehne ab",
  },
  es: {
    title: "¿Se puede transcribir esta sesión?",
    changed: "Este texto ha cambiado. Léalo otra vez, por favor.",
    nothing: "No se graba nada si usted no acepta.",
    agree: "Acepto la grabación",
    decline: "No acepto",
  },
};

/** The words for a language tag; null where there are none, English included. */
export function alsoIn(language) {
  return ALSO[language.split("-")[0].toLowerCase()] ?? null;
}
